// Measures forks: the pause of the parent, and the first result of a child in comparison with a warm start.
import { launchVM } from 'withvm'
import { CHANNELS, startOurs } from './measure-warm.mjs'
import { alternate, median, ms, pairedRatio, table } from './statistics.mjs'

const silent = { log: () => {}, standby: false }
const SIZES = ['256M', '2G']

/** Forks a guest and measures from the call to the first result of the child. */
async function forkOurs(vm, first) {
  const startedAt = performance.now()
  const [child] = await vm.fork()
  await first(child)
  const took = performance.now() - startedAt
  const { pauseMs, method } = child.startedFrom
  await child.dispose()
  return { took, pauseMs, method }
}

export async function measureFork({ host, rounds }) {
  const rows = [['RAM, channel', 'warm start', 'fork', 'ratio', 'pause of the parent', 'longest']]
  const result = {}
  for (const memory of SIZES) {
    for (const [channel, { options, first }] of Object.entries(CHANNELS)) {
      const [warm, forks] = [[], []]
      const vm = await launchVM({ ...silent, ...options, memory })
      await first(vm)
      for (let round = 0; round < rounds; round++) {
        await alternate(round, [
          async () => warm.push(await startOurs({ options, first }, { memory })),
          async () => forks.push(await forkOurs(vm, first)),
        ])
      }
      await vm.dispose()
      const took = forks.map((fork) => fork.took)
      const pauses = forks.map((fork) => fork.pauseMs)
      const { method } = forks[0]
      const ratio = pairedRatio(took, warm)
      result[`${memory} ${channel}`] = {
        oursMs: median(took),
        warmMs: median(warm),
        ratio,
        pauseMs: median(pauses),
        longestPauseMs: Math.max(...pauses),
        method,
      }
      const cells = [median(warm), median(took)].map(ms)
      rows.push([
        `${memory} over ${channel} (${method})`,
        ...cells,
        ratio.toFixed(3),
        ms(median(pauses)),
        ms(Math.max(...pauses)),
      ])
    }
  }
  console.log(`Fork of a running tiny, ${host.accelerator.toUpperCase()}\n${table(rows)}\n`)
  return result
}

/** Measures ten forks, two at a time, in comparison with ten warm starts. */
export async function measureTenForks({ rounds }) {
  const { options, first } = CHANNELS.ssh
  const vm = await launchVM({ ...silent, ...options })
  await first(vm)
  const [warm, forks] = [[], []]
  const inPairs = async (work) => {
    const startedAt = performance.now()
    let left = 10
    const run = async () => {
      while (left-- > 0) await work()
    }
    await Promise.all([run(), run()])
    return performance.now() - startedAt
  }
  for (let round = 0; round < Math.min(rounds, 5); round++) {
    await alternate(round, [
      async () => warm.push(await inPairs(() => startOurs({ options, first }))),
      async () => forks.push(await inPairs(() => forkOurs(vm, first))),
    ])
  }
  await vm.dispose()
  const ratio = pairedRatio(forks, warm)
  console.log(
    `Ten guests, two at a time, first result over ssh: warm ${ms(median(warm))}, forks ${ms(median(forks))}, ratio ${ratio.toFixed(3)}\n`,
  )
  return { oursMs: median(forks), warmMs: median(warm), ratio }
}
