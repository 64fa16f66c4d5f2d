export * from './error.ts'
export * from './gateway.ts'
export * from './link.ts'
