// Measures an image whose content withvm does not know, cold, warm and with a standby.
import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { withVM } from 'withvm'
import { CHANNELS, measureStandby, startOurs } from './measure-warm.mjs'
import { median, ms, table } from './statistics.mjs'

/** Duration of a test during which the next standby becomes ready, milliseconds. */
const TEST_MS = 8000
const COLD_ROUNDS = 2

/** @param folder for the disk, if `path` is undefined: a link to that of `debian`, which is then one of many disks. */
export async function measureOwnImage({ rounds, ownImage: path, folder }) {
  const own = { image: path ?? (await linkDebian(folder)), log: () => {} }
  const cold = []
  for (let round = 0; round < COLD_ROUNDS; round++)
    cold.push(await startOurs(CHANNELS.ssh, { ...own, start: 'cold' }))
  const result = { coldMs: median(cold) }
  const rows = [['first result of an own image', 'milliseconds', 'speedup over cold']]
  rows.push(['withVM() cold, over ssh', ms(result.coldMs), ''])
  for (const [channel, way] of Object.entries(CHANNELS)) {
    await startOurs(way, own) // makes the template
    const times = []
    for (let round = 0; round < rounds; round++) times.push(await startOurs(way, own))
    result[channel] = { warmMs: median(times), faster: result.coldMs / median(times) }
    rows.push([`withVM() warm, over ${channel}`, ms(median(times)), `${result[channel].faster.toFixed(1)} x`])
  }
  console.log(`${table(rows)}\n`)
  return { ...result, standby: await measureStandby({ rounds }, own, TEST_MS) }
}

async function linkDebian(folder) {
  const path = join(folder, 'disk.qcow2')
  symlinkSync(await withVM({ image: 'debian', log: () => {} }, (vm) => vm.baseDisk), path)
  return path
}
