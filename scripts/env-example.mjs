// Prints .env.example from the compiled configuration schema (npm run build first).
import { createRequire } from 'node:module';

const { envExample } = createRequire(import.meta.url)('../dist/process/env-example.js');
process.stdout.write(envExample());
