import { readFile, readdir } from 'node:fs/promises'

/** Loop devices (`loop3`) whose backing file's path ends like this and has this in it. */
export async function loopDevicesOf(imageSuffix: string, within = ''): Promise<string[]> {
  const devices = (await readdir('/sys/block').catch(() => [])).filter((name) => name.startsWith('loop'))
  const found = await Promise.all(devices.map(async (name) => ({ name, file: await backingFile(name) })))
  return found.filter(({ file }) => file.endsWith(imageSuffix) && file.includes(within)).map(({ name }) => name)
}

async function backingFile(device: string): Promise<string> {
  const text = await readFile(`/sys/block/${device}/loop/backing_file`, 'utf8').catch(() => '')
  return text.trimEnd().replace(/ \(deleted\)$/, '')
}
