export { readApiKey, writeApiKey } from './api-key-file.ts'
