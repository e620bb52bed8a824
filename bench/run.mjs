// `npm run bench [-- --rounds N] [--json FILE]`: withVM() beside raw QEMU and bare ssh2, in turn, in one run.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { launchVM, withVM } from 'withvm'
import { bootRaw, execute, login, startAndQuit } from './raw-boot.mjs'
import { median, pairedRatio, table } from './statistics.mjs'

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '10' }, json: { type: 'string' } },
})
const rounds = Number(values.rounds)
const ms = (value) => value.toFixed(value < 10 ? 1 : 0)
const report = { rounds }

console.log(
  `Medians of ${rounds} rounds, milliseconds; ratios are medians of pairs measured one after the other.\n`,
)
const host = await withVM({ ready: 'none' }, (vm) => ({
  qemuPath: vm.qemuCommand.file,
  accelerator: vm.accelerator,
}))
report.import = measureImport()
report.own = await measureOwnCost(host)
report.boot = await measureBoot(host)
report.command = await measureCommand()
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`)

/** Loads the package in fresh processes. */
function measureImport() {
  const program = `const t = performance.now(); await import('withvm'); console.log(performance.now() - t)`
  const times = Array.from({ length: rounds }, () =>
    Number(execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })),
  )
  console.log(`import 'withvm': ${ms(median(times))}\n`)
  return { importMs: median(times) }
}

/**
 * What withVM() costs beside QEMU and the guest: a QEMU that is started with its processor stopped, from the call to its
 * return, less the same QEMU started and ended by hand.
 */
async function measureOwnCost(host) {
  const options = { ready: 'none', qemuArgs: ['-S'], log: () => {} }
  const ours = []
  const theirs = []
  const startOurs = async () => {
    const startedAt = performance.now()
    await withVM(options, () => {})
    ours.push(performance.now() - startedAt)
  }
  for (let round = 0; round < rounds; round++) {
    await inTurn(round, [startOurs, async () => theirs.push(await startAndQuit(host))])
  }
  const own = median(ours.map((value, index) => value - theirs[index]))
  console.log(
    `withVM() on a stopped guest: ${ms(median(ours))}; QEMU alone from start to quit: ${ms(median(theirs))}; own cost: ${ms(own)}\n`,
  )
  return { withVMMs: median(ours), qemuMs: median(theirs), ownMs: own }
}

/** Measures one after the other, the other way round in each second round: a host whose second run is slower is so for both. */
async function inTurn(round, measurements) {
  for (const measure of round % 2 === 0 ? measurements : [...measurements].reverse()) await measure()
}

async function measureBoot(host) {
  const ours = []
  const raw = []
  for (let round = 0; round < rounds; round++) {
    await inTurn(round, [async () => raw.push(await bootRaw(host)), async () => ours.push(await bootOurs())])
  }
  const stages = ['init', 'login', 'result']
  const rows = [['from the start of QEMU', 'raw QEMU', 'withVM()', 'ratio']]
  for (const stage of stages) {
    const [a, b] = [ours.map((row) => row[stage]), raw.map((row) => row[stage])]
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
  return {
    raw,
    ours,
    ratio: pairedRatio(
      ours.map((row) => row.result),
      raw.map((row) => row.result),
    ),
  }
}

async function bootOurs() {
  const calledAt = performance.now()
  const vm = await launchVM({ log: () => {} })
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

/** A command on an open connection, beside bare ssh2 on another connection to the same guest. */
async function measureCommand() {
  const times = await withVM({ log: () => {} }, async (vm) => {
    const bare = await login(vm.hostPort(22), readFileSync(`${vm.runFolder}/id_ed25519`, 'utf8'))
    const ours = []
    const theirs = []
    const time = async (times, run) => {
      const startedAt = performance.now()
      await run()
      times.push(performance.now() - startedAt)
    }
    for (let round = 0; round < rounds * 4 + 5; round++) {
      await inTurn(round, [
        () => time(ours, () => vm.ssh`true`),
        () => time(theirs, () => execute(bare, 'true')),
      ])
    }
    bare.end()
    return { ours: ours.slice(5), theirs: theirs.slice(5) }
  })
  const ratio = pairedRatio(times.ours, times.theirs)
  console.log(
    `a command on an open connection: vm.ssh ${ms(median(times.ours))}, bare ssh2 ${ms(median(times.theirs))}, ratio ${ratio.toFixed(3)}`,
  )
  return { oursMs: median(times.ours), bareMs: median(times.theirs), ratio }
}
