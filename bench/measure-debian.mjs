// What a Debian costs: its boot beside raw QEMU, with the same command and through the disk's own boot loader; and how much faster warm starts are.
import { CHANNELS, measureStandby, startOurs } from './measure-warm.mjs'
import { bootRaw } from './raw-boot.mjs'
import { inTurn, median, ms, pairedRatio, table } from './statistics.mjs'

const debian = { image: 'debian', log: () => {} }
/** A boot takes a hundred times as long as a warm start. */
const ROUNDS_PER_BOOT = 3
/** How long a test takes in which the next guest is made to stand by, milliseconds. */
const TEST_MS = 6000

export async function measureDebian({ host, rounds }) {
  for (const way of Object.values(CHANNELS)) await startOurs(way, debian) // makes the image and the template
  const boots = { cold: [], raw: [], loader: [] }
  const warm = { agent: [], ssh: [] }
  for (let round = 0; round < Math.max(2, Math.round(rounds / ROUNDS_PER_BOOT)); round++) {
    await inTurn(round, [
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
  const rows = [['first result of debian', 'milliseconds', 'cold is slower by']]
  rows.push(['raw QEMU, its own boot loader, by ssh', ms(result.loaderMs), ''])
  rows.push(['raw QEMU, the same command, by ssh', ms(result.rawMs), ''])
  rows.push(['withVM() cold, by ssh', ms(result.coldMs), ''])
  for (const [channel, times] of Object.entries(warm)) {
    result[channel] = { warmMs: median(times), faster: pairedRatio(boots.cold, times) }
    rows.push([`withVM() warm, by ${channel}`, ms(median(times)), `${result[channel].faster.toFixed(1)} x`])
  }
  console.log(
    `${table(rows)}\nCold beside raw QEMU: ratio ${result.ratio.toFixed(3)}; beside its own boot loader ${result.loaderRatio.toFixed(3)}\n`,
  )
  return { ...result, standby: await measureStandby({ rounds }, debian, TEST_MS) }
}
