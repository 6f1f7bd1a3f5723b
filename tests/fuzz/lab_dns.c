#include "tools/lab/addresses.c"
#include "tools/lab/dns_message.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct dns_question question;
    enum dns_rcode rcode;
    uint8_t out[DNS_UDP_MAX];
    if (dns_read_query(&question, &rcode, data, len)) {
        dns_write_own(out, sizeof(out), data, &question);
        dns_write_rcode(out, sizeof(out), data, &question, DNS_NXDOMAIN, true);
    }
    return 0;
}
