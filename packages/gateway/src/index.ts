export { controlSocket } from './gateway.ts'
export { type SpawnedGateway, spawnGateway, type SpawnGateway } from './start.ts'
