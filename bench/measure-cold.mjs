// Measures boots, the overhead of withVM() and commands, in comparison with raw QEMU and ssh2.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { launchVM, withVM } from 'withvm'
import { bootRaw, execute, login, startAndQuit } from './raw-boot.mjs'
import { alternate, median, ms, pairedRatio, table, timed } from './statistics.mjs'

const silent = { log: () => {} }

/** Measures the import of the package in new processes. */
export function measureImport({ rounds }) {
  const program = `const t = performance.now(); await import('withvm'); console.log(performance.now() - t)`
  const times = Array.from({ length: rounds }, () =>
    Number(execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })),
  )
  console.log(`import 'withvm': ${ms(median(times))}\n`)
  return { importMs: median(times) }
}

/**
 * Measures the overhead of withVM(): the duration of a call for a QEMU with stopped vCPUs, minus that of the same QEMU
 * without withvm.
 */
export async function measureOwnCost({ host, rounds }) {
  const options = { ...silent, ready: 'none', qemuArgs: ['-S'] }
  const ours = []
  const theirs = []
  for (let round = 0; round < rounds; round++) {
    await alternate(round, [
      async () => ours.push(await timed(() => withVM(options, () => {}))),
      async () => theirs.push(await startAndQuit(host)),
    ])
  }
  const own = median(ours.map((value, index) => value - theirs[index]))
  console.log(
    `withVM() on a stopped guest: ${ms(median(ours))}; QEMU alone from start to quit: ${ms(median(theirs))}; own cost: ${ms(own)}\n`,
  )
  return { withVMMs: median(ours), qemuMs: median(theirs), ownMs: own }
}

export async function measureBoot({ host, rounds }) {
  const ours = []
  const raw = []
  for (let round = 0; round < rounds; round++) {
    await alternate(round, [
      async () => raw.push(await bootRaw(host)),
      async () => ours.push(await bootOurs()),
    ])
  }
  const rows = [['from the start of QEMU', 'raw QEMU', 'withVM()', 'ratio']]
  const result = {}
  for (const stage of ['init', 'login', 'result']) {
    const [a, b] = [ours.map((row) => row[stage]), raw.map((row) => row[stage])]
    result[stage] = { oursMs: median(a), rawMs: median(b), ratio: pairedRatio(a, b) }
    rows.push([
      stage === 'result' ? 'first SSH result' : stage,
      ms(median(b)),
      ms(median(a)),
      pairedRatio(a, b).toFixed(3),
    ])
  }
  console.log(`Cold boot of tiny, ${host.accelerator.toUpperCase()}\n${table(rows)}`)
  const call = (name) => ms(median(ours.map((row) => row[name])))
  console.log(
    `withVM(): call to start of QEMU ${call('prepare')}, teardown ${call('teardown')}, whole ${call('whole')}\n`,
  )
  return { ...result, wholeMs: median(ours.map(({ whole }) => whole)) }
}

async function bootOurs() {
  const calledAt = performance.now()
  const vm = await launchVM({ ...silent, start: 'cold' })
  const readyAt = performance.now()
  await vm.ssh`true`
  const resultAt = performance.now()
  const at = Object.fromEntries(vm.timeline.map(({ stage, atMs }) => [stage, atMs]))
  const startedAt = readyAt - at.ready
  await vm.dispose()
  const endedAt = performance.now()
  return {
    init: at.init,
    login: at.ready,
    result: resultAt - startedAt,
    prepare: startedAt - calledAt,
    teardown: endedAt - resultAt,
    whole: endedAt - calledAt,
  }
}

/** Measures a command on an open connection, in comparison with ssh2 on another connection to the same guest. */
export async function measureCommand({ rounds }) {
  const [ours, theirs] = [[], []]
  await withVM(silent, async (vm) => {
    const bare = await login(vm.hostPort(22), readFileSync(`${vm.runFolder}/id_ed25519`, 'utf8'))
    for (let round = 0; round < rounds * 4 + 5; round++) {
      await alternate(round, [
        async () => ours.push(await timed(() => vm.ssh`true`)),
        async () => theirs.push(await timed(() => execute(bare, 'true'))),
      ])
    }
    bare.end()
  })
  const [a, b] = [ours.slice(5), theirs.slice(5)]
  const ratio = pairedRatio(a, b)
  console.log(
    `a command on an open connection: vm.ssh ${ms(median(a))}, bare ssh2 ${ms(median(b))}, ratio ${ratio.toFixed(3)}\n`,
  )
  return { oursMs: median(a), bareMs: median(b), ratio }
}

const COPIED_MIB = 16

/** Measures an upload of random bytes, in comparison with the SFTP client of ssh2. */
export async function measureCopy({ rounds }) {
  const [ours, theirs] = [[], []]
  await withVM(silent, async (vm) => {
    const file = `${vm.runFolder}/copied`
    writeFileSync(file, randomBytes(COPIED_MIB * 1024 ** 2))
    const bare = await login(vm.hostPort(22), readFileSync(`${vm.runFolder}/id_ed25519`, 'utf8'))
    const sftp = await new Promise((resolve, reject) =>
      bare.sftp((error, opened) => (error ? reject(error) : resolve(opened))),
    )
    const put = () =>
      new Promise((resolve, reject) =>
        sftp.fastPut(file, '/tmp/theirs', (error) => (error ? reject(error) : resolve())),
      )
    for (let round = 0; round < Math.max(3, Math.ceil(rounds / 4)); round++) {
      await alternate(round, [
        async () => ours.push(await timed(() => vm.upload(file, '/tmp/ours'))),
        async () => theirs.push(await timed(put)),
      ])
    }
    bare.end()
  })
  const rate = (times) => (COPIED_MIB / (median(times) / 1000)).toFixed(1)
  const ratio = pairedRatio(ours, theirs)
  console.log(
    `a file of ${COPIED_MIB} MiB into the guest, MiB/s: vm.upload ${rate(ours)}, bare ssh2 ${rate(theirs)}; ratio of times ${ratio.toFixed(3)}\n`,
  )
  return { oursMs: median(ours), bareMs: median(theirs), ratio }
}
