// Drives the published client through a lab in Node. Usage: node client.mjs JOB, a JSON text; see checks.mjs.
import { runChecks } from './checks.mjs';
import { installWorker } from './page.mjs';

const job = JSON.parse(process.argv[2]);
console.log(`Node.js ${process.version}`);
installWorker(job.api);
process.exit((await runChecks(job, console.log)) ? 1 : 0);
