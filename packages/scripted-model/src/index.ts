export type { Clock } from './clock.ts'
export type { RequestRecord } from './request-log.ts'
export { startScriptedModel, type ScriptedModel, type ScriptedModelOptions } from './server.ts'
