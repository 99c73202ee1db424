// The bundle's single entry: every workflow by the name it is started with.
export { turn } from './turn.ts';
export { extractMemory, memorySweep } from './memory.ts';
export { eraseConversation, eraseOrganisation, eraseUser } from './erasure.ts';
export { maintenance } from './maintenance.ts';
export { batchJob } from './batch-job.ts';
export { summarise, summarySweep } from './summaries.ts';
export { partitions, retention, scrubFiles } from './retention.ts';
