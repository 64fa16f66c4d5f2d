export { buildRunner, defaultRunnerFile } from './build.ts'
