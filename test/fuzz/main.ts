/** `node test/fuzz/main.ts [--hosts n] [--addresses n] [--requests n] [--seed n]`: the way out beside a second implementation of its rule. */
import { parseArgs } from 'node:util'
import { Random } from '../chaos/random.ts'
import { type Tally, tryAddress, tryHost } from './hosts.ts'
import { openRequestFuzz } from './requests.ts'

const AT_ONCE = 16
const SHOWN = 20

const { values } = parseArgs({
  options: {
    hosts: { type: 'string', default: '1000000' },
    addresses: { type: 'string', default: '1000000' },
    requests: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
  },
})
const [hosts = 0, addresses = 0, requests = 0, seed = 0] = [
  values.hosts,
  values.addresses,
  values.requests,
  values.seed,
].map(Number)
if (![hosts, addresses, requests, seed].every((value) => Number.isInteger(value) && value >= 0)) {
  console.error('--hosts, --addresses, --requests and --seed need whole numbers')
  process.exit(2)
}

const empty = (): Tally => ({ tried: 0, allowed: 0, failures: [] })

function report(what: string, { tried, allowed, failures }: Tally): void {
  for (const failure of failures.slice(0, SHOWN)) console.log(`  FAILED ${failure}`)
  console.log(`${what}: tried ${tried}, held ${tried - failures.length}, allowed ${allowed}`)
}

const ofHosts = empty()
const random = new Random(seed)
for (let n = 0; n < hosts; n++) tryHost(random, ofHosts)
report('hosts', ofHosts)
const ofAddresses = empty()
for (let n = 0; n < addresses; n++) tryAddress(random, ofAddresses)
report('addresses', ofAddresses)

const ofRequests = empty()
await using fuzz = await openRequestFuzz()
let left = requests
async function worker(own: Random): Promise<void> {
  while (left-- > 0) await fuzz.attempt(own, ofRequests)
}
await Promise.all(Array.from({ length: AT_ONCE }, (_, index) => worker(new Random(seed * AT_ONCE + index))))
report('requests', ofRequests)
for (const line of fuzz.trapped.slice(0, SHOWN)) console.log(`  TRAPPED ${line}`)
console.log(`traps hit: ${fuzz.trapped.length}; seed ${seed}`)
const failed = [ofHosts, ofAddresses, ofRequests].some(({ failures }) => failures.length > 0) || fuzz.trapped.length > 0
process.exitCode = failed ? 1 : 0
