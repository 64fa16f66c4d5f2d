export { claimDataDir } from './data-dir.ts'
export { defaultWorkspace, type Server, type ServerOptions, startServer } from './main.ts'
export { newKey } from './domain/key.ts'
