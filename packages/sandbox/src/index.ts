export * from './driver.ts'
export { openOciDriver } from './oci/driver.ts'
export type { OciOptions } from './oci/options.ts'
