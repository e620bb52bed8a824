// Measures warm starts, in comparison with raw QEMU that restores the same snapshot, and the time and memory of many guests.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { launchVM, withVM } from 'withvm'
import { restoreRaw, saveRaw } from './raw-warm.mjs'
import { alternate, median, ms, pairedRatio, table, timed } from './statistics.mjs'

const silent = { log: () => {} }
export const CHANNELS = {
  agent: { options: { ready: 'agent' }, first: (vm) => vm.exec('true') },
  ssh: { options: {}, first: (vm) => vm.ssh`true` },
}

/** Measures a start from the call to the first result. */
export async function startOurs({ options, first }, more = {}) {
  const startedAt = performance.now()
  const vm = await launchVM({ ...silent, standby: false, ...options, ...more })
  await first(vm)
  const took = performance.now() - startedAt
  await vm.dispose()
  return took
}

export async function measureWarm({ host, rounds }) {
  const snapshot = await saveRaw(host)
  const rows = [['from the call to the first result', 'raw QEMU', 'withVM()', 'ratio', 'more']]
  const result = {}
  for (const [channel, way] of Object.entries(CHANNELS)) {
    const [ours, raw] = [[], []]
    await startOurs(way)
    for (let round = 0; round < rounds; round++) {
      await alternate(round, [
        async () => raw.push(await restoreRaw(host, snapshot, channel)),
        async () => ours.push(await startOurs(way)),
      ])
    }
    const more = median(ours.map((value, index) => value - raw[index]))
    const ratio = pairedRatio(ours, raw)
    result[channel] = { oursMs: median(ours), rawMs: median(raw), ratio, moreMs: more }
    rows.push([`over ${channel}`, ms(median(raw)), ms(median(ours)), ratio.toFixed(3), ms(more)])
  }
  snapshot.dispose()
  console.log(`Warm start of tiny, ${host.accelerator.toUpperCase()}\n${table(rows)}\n`)
  return result
}

/** Measures starts with a standby. Each round waits until it is ready, like a test that takes longer than a start. */
export async function measureStandby({ rounds }, more = {}, pauseMs = 1500) {
  const result = {}
  const texts = []
  for (const [channel, way] of Object.entries(CHANNELS)) {
    const times = []
    let previous = await launchVM({ ...silent, standby: true, ...way.options, ...more })
    for (let round = 0; round < rounds; round++) {
      await sleep(pauseMs)
      const startedAt = performance.now()
      const vm = await launchVM({ ...silent, standby: true, ...way.options, ...more })
      await way.first(vm)
      if (vm.startedFrom.kind === 'standby') times.push(performance.now() - startedAt)
      await previous.dispose()
      previous = vm
    }
    await previous.dispose()
    result[channel] = { oursMs: median(times), rounds: times.length }
    texts.push(`first result over ${channel} ${ms(median(times))}`)
  }
  console.log(`With a standby, from the call: ${texts.join(', ')}\n`)
  return result
}

const SIZES = ['128M', '256M', '1G', '4G']

export async function measureSizes({ rounds }) {
  const times = Object.fromEntries(SIZES.map((size) => [size, []]))
  for (const memory of SIZES) await startOurs(CHANNELS.agent, { memory })
  for (let round = 0; round < rounds; round++) {
    const measurements = SIZES.map((memory) => async () => {
      times[memory].push(await startOurs(CHANNELS.agent, { memory }))
    })
    await alternate(round, measurements)
  }
  const medians = SIZES.map((size) => median(times[size]))
  const spread = Math.max(...medians) / Math.min(...medians)
  console.log(
    `Warm start to the first agent result by the guest's RAM: ${SIZES.map((size, index) => `${size} ${ms(medians[index])}`).join(', ')}; the slowest ${spread.toFixed(3)} x the fastest\n`,
  )
  return { sizes: Object.fromEntries(SIZES.map((size, index) => [size, medians[index]])), spread }
}

/** Measures the proportional set size of guests with 1 GiB, after a command over SSH. */
export async function measureMemory() {
  const counts = [1, 4, 8]
  const guests = []
  const totals = {}
  for (const count of counts) {
    while (guests.length < count) {
      const vm = await launchVM({ ...silent, memory: '1G', standby: false })
      await vm.ssh`true`
      guests.push(vm)
    }
    totals[count] = guests.reduce((sum, { pid }) => sum + readPss(pid), 0)
  }
  for (const vm of guests) await vm.dispose()
  const each = (totals[8] - totals[1]) / 7
  console.log(
    `Memory (PSS) of guests of 1 GiB, MiB: ${counts.map((count) => `${count}: ${totals[count].toFixed(0)}`).join(', ')}; each further one ${each.toFixed(0)}\n`,
  )
  return { pssMiB: totals, furtherMiB: each }
}

function readPss(pid) {
  return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]) / 1024
}

const TESTS = 10

/** Measures ten tests, each with its own guest and one command over SSH. */
export async function measureTen({ rounds }) {
  const oneTest = (options) => withVM({ ...silent, ...options }, (vm) => vm.ssh`true`)
  const run = (options, atATime) =>
    timed(async () => {
      let left = TESTS
      const worker = async () => {
        while (left-- > 0) await oneTest(options)
      }
      await Promise.all(Array.from({ length: atATime }, worker))
    })
  const repeats = Math.max(1, Math.round(rounds / 7))
  const rows = [['ten tests, seconds', 'cold', 'warm', 'times faster']]
  const result = {}
  for (const atATime of [1, 2]) {
    const [cold, warm] = [[], []]
    for (let repeat = 0; repeat < repeats; repeat++) {
      await alternate(repeat, [
        async () => cold.push(await run({ start: 'cold' }, atATime)),
        async () => warm.push(await run({}, atATime)),
      ])
      await sleep(1000) // the standbys end
    }
    const faster = pairedRatio(cold, warm)
    result[atATime] = { coldMs: median(cold), warmMs: median(warm), faster }
    rows.push([`${atATime} at a time`, seconds(median(cold)), seconds(median(warm)), faster.toFixed(2)])
  }
  console.log(`${table(rows)}\n`)
  return result
}

const PEER_RUNS = 3

/** Measures other harnesses: each is a shell command that boots a guest, runs one command in it, and ends. */
export async function measurePeers({ peers, ten }) {
  const rows = [['one test by another harness, seconds', 'median', 'speedup of a warm test']]
  const result = {}
  for (const peer of peers) {
    const name = peer.slice(0, peer.indexOf('='))
    const times = []
    for (let run = 0; run < PEER_RUNS; run++) {
      times.push(await timed(() => runInShell(peer.slice(peer.indexOf('=') + 1))))
    }
    const faster = ten === undefined ? undefined : median(times) / (ten[1].warmMs / TESTS)
    result[name] = { oneMs: median(times), faster }
    rows.push([name, seconds(median(times)), faster === undefined ? '' : `${faster.toFixed(1)} x`])
  }
  console.log(`${table(rows)}\n`)
  return result
}

function runInShell(command) {
  return new Promise((resolve, reject) =>
    spawn('sh', ['-c', command], { stdio: 'ignore' }).once('exit', (code) =>
      code === 0 ? resolve() : reject(new Error(`${command} ended with ${code}`)),
    ),
  )
}

function seconds(value) {
  return (value / 1000).toFixed(2)
}
