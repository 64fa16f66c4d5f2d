export { claimDataDir } from './data-dir.ts'
export { defaultWorkspace, type Server, type ServerOptions, startServer } from './main.ts'
export type { Costs } from './domain/costs.ts'
export { newKey } from './domain/key.ts'
