// Measures warm starts of machines with more hardware than `tiny` has by default, relative to it.
import { CHANNELS, startOurs } from './measure-warm.mjs'
import { alternate, median, ms, pairedRatio, table } from './statistics.mjs'

/** Options of each machine. */
const MACHINES = {
  'two disks and two cards': { disks: [{ size: '1G' }], network: [{}, {}] },
  UEFI: { firmware: 'uefi' },
  'UEFI and a TPM': { firmware: 'uefi', tpm: true },
  VNC: { vnc: true },
  NUMA: {
    cpus: 2,
    numa: [
      { memory: '128M', cpus: [0] },
      { memory: '128M', cpus: [1] },
    ],
  },
}

export async function measureMachines({ rounds }) {
  const way = CHANNELS.agent
  const machines = { tiny: {}, ...MACHINES }
  const names = Object.keys(machines)
  const times = Object.fromEntries(names.map((name) => [name, []]))
  for (const name of names) await startOurs(way, machines[name])
  for (let round = 0; round < rounds; round++) {
    const starts = names.map((name) => async () => times[name].push(await startOurs(way, machines[name])))
    await alternate(round, starts)
  }
  const rows = [['warm start to the first agent result', 'median', 'ratio to tiny']]
  const result = {}
  for (const name of names) {
    const ratio = pairedRatio(times[name], times.tiny)
    result[name] = { oursMs: median(times[name]), ratio }
    rows.push([name, ms(median(times[name])), ratio.toFixed(3)])
  }
  console.log(`Warm starts of other machines\n${table(rows)}\n`)
  return result
}
