//! The conversations of our client and our gateway, with the reference in the place of each.

use super::{array, bytes, int, list, same, text, About, Checked};
use crate::groups::gateway::gateway_side;
use crate::line::{line, together};
use crate::world::identity;
use nym_gateway_requests::registration::handshake::{client_handshake, HandshakeResult};
use nym_gateway_requests::{
    BinaryRequest, BinaryResponse, ClientControlRequest, ClientRequest, RegistrationHandshake, SensitiveServerResponse,
    ServerResponse, SharedSymmetricKey,
};
use nym_task::ShutdownToken;
use rand::{CryptoRng, Error, RngCore};
use serde_json::Value;
use tungstenite::Message;

/// Gives out recorded bytes.
struct Feed(Vec<u8>);

impl RngCore for Feed {
    fn next_u32(&mut self) -> u32 {
        unreachable!("the handshake draws bytes")
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("the handshake draws bytes")
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.copy_from_slice(&self.0[..dest.len()]);
        self.0.drain(..dest.len());
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Feed {}

/// The texts one end said, handshake messages only.
fn handshake_of<'a>(case: &'a Value, end: &str) -> Vec<&'a str> {
    let said = list(case, "log").iter().filter(|line| text(line, "from") == end && line["text"].is_string());
    said.map(|line| text(line, "text")).filter(|text| text.starts_with("{\"type\":\"handshakePayload\"")).collect()
}

fn check_result(case: &Value, result: &HandshakeResult) -> Result<(), String> {
    same("version", result.negotiated_protocol as i64, int(case, "version"))?;
    same("shared key", result.derived_key.to_bytes(), bytes(case, "shared_key"))
}

/// The reference's client with our client's random inputs, and the answers of our gateway.
fn their_client(document: &Value, case: &Value) -> Result<(), String> {
    let ours = identity(array(&document["alice"], "identity_seed"));
    let gateway = identity(array(case, "gateway_identity_seed"));
    let (said, answers) = (handshake_of(case, "client"), handshake_of(case, "gateway"));
    let (mut client_line, mut gateway_line) = line();
    let sent = client_line.sent.clone();
    let mut feed = Feed(bytes(case, "client_draws"));
    let version = int(case, "version") as u8;
    let client =
        client_handshake(&mut feed, &mut client_line, &ours, *gateway.public_key(), version, ShutdownToken::new());
    let play = async {
        for answer in answers {
            gateway_line.hear().await;
            gateway_line.say(answer);
        }
    };
    let result = together(client, play).0.about("the reference's client at our gateway")?;
    check_result(case, &result)?;
    let sent = sent.lock().expect("no holder panics").clone();
    same("M1", sent[0].as_str(), said[0])?;
    same("length of M3", sent[1].matches(',').count(), said[1].matches(',').count())
}

/// The reference's gateway with our gateway's random inputs, and the words of our client.
fn their_gateway(case: &Value) -> Result<(), String> {
    let gateway = identity(array(case, "gateway_identity_seed"));
    let (said, answers) = (handshake_of(case, "client"), handshake_of(case, "gateway"));
    let (mut client_line, mut gateway_line) = line();
    let sent = gateway_line.sent.clone();
    let mut feed = Feed(bytes(case, "gateway_draws"));
    said.iter().for_each(|text| client_line.say(text));
    let result = together(gateway_side(&mut feed, &mut gateway_line, &gateway), async {}).0;
    check_result(case, &result.about("our client at the reference's gateway")?)?;
    let sent = sent.lock().expect("no holder panics").clone();
    let ephemeral = |text: &str| match text.parse() {
        Ok(RegistrationHandshake::HandshakePayload { data, .. }) => data[..32].to_vec(),
        _ => vec![],
    };
    same("ephemeral key in M2", ephemeral(&sent[0]), ephemeral(answers[0]))?;
    same("M4", sent[1].as_str(), answers[1])
}

/// Read, and written again: the reference's text must be ours to the letter.
fn client_text(text: &str, key: &SharedSymmetricKey) -> Result<(), String> {
    if text.parse::<RegistrationHandshake>().is_ok() {
        return Ok(()); // compared before
    }
    let request: ClientControlRequest = text.parse().about(text)?;
    match &request {
        ClientControlRequest::AuthenticateV2(login) => {
            login.verify_signature().about("login")?;
            login.verify_ciphertext(key).about("login")?;
        }
        ClientControlRequest::EncryptedRequest { ciphertext, nonce } => {
            drop(ClientRequest::decrypt(ciphertext, nonce, key).about(text)?)
        }
        _ => (),
    }
    same(text, String::from(&*Message::from(request).into_text().about(text)?), text.to_string())
}

fn gateway_text(text: &str, key: &SharedSymmetricKey) -> Result<(), String> {
    if let Ok(handshake) = text.parse::<RegistrationHandshake>() {
        return same(text, String::from(handshake), text.to_string());
    }
    let response = ServerResponse::try_from(text.to_string()).about(text)?;
    if let ServerResponse::EncryptedResponse { ciphertext, nonce } = &response {
        SensitiveServerResponse::decrypt(ciphertext, nonce, key).about(text)?;
    }
    let again = Message::from(response).into_text().about(text)?;
    // the same members with the same values; control characters have two spellings
    let parsed = |text: &str| serde_json::from_str::<Value>(text).about("text");
    same(text, parsed(&again)?, parsed(text)?)?;
    same(text, again == text || text.contains("\\u"), true)
}

fn frames(case: &Value, key: &SharedSymmetricKey) -> Result<usize, String> {
    let (mut forwarded, mut pushed) = (list(case, "forwarded").iter(), list(case, "pushed").iter());
    let mut count = 0;
    for line in list(case, "log").iter().filter(|line| line["binary"].is_string()) {
        let frame = bytes(line, "binary");
        count += 1;
        if text(line, "from") == "gateway" {
            let push = BinaryResponse::try_from_encrypted_tagged_bytes(frame, key).about("push")?;
            let BinaryResponse::PushedMixMessage { message } = push else { return Err("not a push".into()) };
            same("pushed message", message, bytes(pushed.next().ok_or("one push too many")?, "message"))?;
            continue;
        }
        let request = BinaryRequest::try_from_encrypted_tagged_bytes(frame, key).about("frame")?;
        let v2 = matches!(request, BinaryRequest::ForwardSphinxV2 { .. });
        same("kind of a frame", v2, int(case, "version") >= 5)?;
        let packet = match request {
            BinaryRequest::ForwardSphinx { packet } | BinaryRequest::ForwardSphinxV2 { packet } => packet,
            _ => return Err("another request".into()),
        };
        // the last one exceeds the balance, so our gateway keeps it
        if let Some(want) = forwarded.next() {
            same("forwarded packet", packet.into_v2_bytes().about("packet")?, bytes(want, "request"))?;
        }
    }
    same("pushes", pushed.next().is_none(), true)?;
    Ok(count)
}

pub fn conversations(document: &Value) -> Checked {
    let mut count = 0;
    for case in list(document, "gateway") {
        let key = SharedSymmetricKey::try_from_bytes(&bytes(case, "shared_key")).about("key")?;
        their_client(document, case)?;
        their_gateway(case)?;
        for line in list(case, "log").iter().filter(|line| line["text"].is_string()) {
            let said = text(line, "text");
            if text(line, "from") == "client" {
                client_text(said, &key)?
            } else {
                gateway_text(said, &key)?
            }
            count += 1;
        }
        count += frames(case, &key)?;
    }
    Ok(count)
}
