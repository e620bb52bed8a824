// Measures Debian: cold boots in comparison with raw QEMU, with the same command and with the boot loader of the disk, and warm starts.
import { CHANNELS, measureStandby, startOurs } from './measure-warm.mjs'
import { bootRaw } from './raw-boot.mjs'
import { alternate, median, ms, pairedRatio, table } from './statistics.mjs'

const debian = { image: 'debian', log: () => {} }
/** Warm starts per boot, because a boot takes a hundred times as long. */
const ROUNDS_PER_BOOT = 3
/** Duration of a test during which the next standby becomes ready, milliseconds. */
const TEST_MS = 6000

export async function measureDebian({ host, rounds }) {
  for (const way of Object.values(CHANNELS)) await startOurs(way, debian) // builds the image and the template
  const boots = { cold: [], raw: [], loader: [] }
  const warm = { agent: [], ssh: [] }
  for (let round = 0; round < Math.max(2, Math.round(rounds / ROUNDS_PER_BOOT)); round++) {
    await alternate(round, [
      async () => boots.cold.push(await startOurs(CHANNELS.ssh, { ...debian, start: 'cold' })),
      async () => boots.raw.push((await bootRaw(host, 'debian')).result),
      async () => boots.loader.push((await bootRaw({ ...host, options: { boot: 'c' } }, 'debian')).result),
    ])
    for (const [channel, way] of Object.entries(CHANNELS)) {
      const times = []
      for (let start = 0; start < ROUNDS_PER_BOOT; start++) times.push(await startOurs(way, debian))
      warm[channel].push(median(times))
    }
  }
  const result = {
    coldMs: median(boots.cold),
    rawMs: median(boots.raw),
    loaderMs: median(boots.loader),
    ratio: pairedRatio(boots.cold, boots.raw),
    loaderRatio: pairedRatio(boots.cold, boots.loader),
  }
  const rows = [['first result of debian', 'milliseconds', 'speedup over cold']]
  rows.push(['raw QEMU, its own boot loader, over ssh', ms(result.loaderMs), ''])
  rows.push(['raw QEMU, the same command, over ssh', ms(result.rawMs), ''])
  rows.push(['withVM() cold, over ssh', ms(result.coldMs), ''])
  for (const [channel, times] of Object.entries(warm)) {
    result[channel] = { warmMs: median(times), faster: pairedRatio(boots.cold, times) }
    rows.push([`withVM() warm, over ${channel}`, ms(median(times)), `${result[channel].faster.toFixed(1)} x`])
  }
  console.log(
    `${table(rows)}\nCold boot compared with raw QEMU: ratio ${result.ratio.toFixed(3)}; with its own boot loader ${result.loaderRatio.toFixed(3)}\n`,
  )
  return { ...result, standby: await measureStandby({ rounds }, debian, TEST_MS) }
}
