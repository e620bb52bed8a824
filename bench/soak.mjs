// `npm run soak [-- --rounds N] [--forks N] [--kills N] [--seed N]` runs many warm starts and forks, then kills programs during
// starts and forks, and reports leftovers.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { launchVM, withVM } from 'withvm'
import { seededRandom } from './random.mjs'
import { median, ms } from './statistics.mjs'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1000' },
    forks: { type: 'string', default: '500' },
    kills: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
  },
})
const AGENT = { ready: 'agent', standby: false, log: () => {} }
/** Uses of a guest in a program that is killed. */
const START = `vm.ssh\`echo x >/root/x; sync\``
const FORK = `(await vm.fork(2))[0].ssh\`echo x >/root/x; sync\``

process.env.TMPDIR = await mkdtemp(join(tmpdir(), 'soak-'))
const problems = []
const baseDisk = await withVM({ ready: 'none' }, (vm) => vm.baseDisk)
const before = await digest(baseDisk)
await repeat('warm starts', Number(values.rounds), startWarm)
await forkRepeatedly(Number(values.forks))
await kills('starts', START, Number(values.kills), Number(values.seed))
await kills('forks', FORK, Number(values.kills), Number(values.seed) + 1)
if ((await digest(baseDisk)) !== before) problems.push('the base image has changed')
for (const problem of problems) console.log(`PROBLEM: ${problem}`)
console.log(problems.length === 0 ? 'nothing is left, and nothing failed' : `${problems.length} problems`)
await rm(process.env.TMPDIR, { recursive: true, force: true })
process.exitCode = problems.length === 0 ? 0 : 1

/** Starts a new guest with one command through its agent; every tenth also with one over SSH. */
async function startWarm(round) {
  const vm = await launchVM(AGENT)
  const { stdout } = await vm.exec('echo $((6 * 7))')
  if (stdout !== '42') problems.push(`round ${round}: the guest printed ${stdout}`)
  if (vm.startedFrom.kind !== 'template') problems.push(`round ${round}: ${JSON.stringify(vm.startedFrom)}`)
  if (round % 10 === 0) await vm.ssh`true`
  await vm.dispose()
}

/** Forks one guest repeatedly, between writes to its disk and RAM. */
async function forkRepeatedly(rounds) {
  if (rounds === 0) return
  const vm = await launchVM(AGENT)
  await repeat('forks', rounds, async (round) => {
    await vm.exec(`echo ${round} >/root/state; echo ${round} >/tmp/state`)
    const [child] = await vm.fork()
    const { stdout } = await child.exec('cat /root/state /tmp/state')
    if (stdout !== `${round}\n${round}`) problems.push(`fork ${round}: the child printed ${stdout}`)
    await child.dispose()
  })
  await vm.dispose()
  const { folders, qemus } = readUsage()
  if (folders > 0 || qemus > 0) problems.push(`left after the forks: ${folders} folders, ${qemus} QEMUs`)
}

/** Repeats an action, and compares the resources of this process before and after it. */
async function repeat(what, rounds, action) {
  if (rounds === 0) return
  const times = []
  // The first tenth of the rounds is a warm-up of memory and open files.
  const warmUp = Math.max(1, Math.floor(rounds / 10))
  let start
  for (let round = 0; round < rounds; round++) {
    if (round === warmUp) start = readUsage()
    const startedAt = performance.now()
    await action(round).catch((error) => problems.push(`${what}, round ${round}: ${error.message}`))
    times.push(performance.now() - startedAt)
  }
  const end = readUsage()
  start ??= end
  console.log(
    `${rounds} ${what}: median ${ms(median(times))} ms; usage at the end (and after a tenth of the rounds):`,
  )
  for (const [name, value] of Object.entries(end)) console.log(`  ${name}: ${value} (${start[name]})`)
  if (end.files > start.files + 2)
    problems.push(`${what}: open files grew from ${start.files} to ${end.files}`)
  if (end.memoryMiB > start.memoryMiB + 64)
    problems.push(`${what}: memory grew from ${start.memoryMiB} to ${end.memoryMiB} MiB`)
  for (const name of ['folders', 'qemus', 'sockets'])
    if (end[name] > start[name]) problems.push(`${what}: ${name} grew from ${start[name]} to ${end[name]}`)
}

/** Kills programs that start or fork guests at random moments. */
async function kills(what, use, count, seed) {
  if (count === 0) return
  const random = seededRandom(seed)
  const program = `
    import { withVM } from 'withvm'
    for (;;) await withVM({ log: () => {}, standby: true }, async (vm) => ${use})`
  let orphans = 0
  for (let round = 0; round < count; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'ignore' })
    await sleep(random() * 3000)
    child.kill('SIGKILL')
    await sleep(1000)
    if (readUsage().qemus > 0) orphans++
  }
  if (orphans > 0) problems.push(`${orphans} of ${count} kills during ${what} left a QEMU for over a second`)
  // In a separate process, because each process sweeps dead runs only once.
  const next = `
    import { withVM } from 'withvm'
    await withVM({ log: () => {} }, async (vm) => {
      if (vm.startedFrom.kind === 'cold') process.exitCode = 9
      if ((await vm.ssh\`ls /root\`).stdout !== '') process.exitCode = 10
    })`
  const exitCode = await new Promise((resolve) =>
    spawn(process.execPath, ['--input-type=module', '-e', next], { stdio: 'inherit' }).once('exit', resolve),
  )
  if (exitCode !== 0) problems.push(`the run after the kills ended with ${exitCode}`)
  const left = readUsage()
  if (left.folders > 0 || left.qemus > 0) problems.push(`left after the kills: ${JSON.stringify(left)}`)
  console.log(
    `${count} kills during ${what}: ${orphans} left a QEMU; ${left.folders} folders after the next run`,
  )
}

/** Returns the current resources of this process and its guests. */
function readUsage() {
  globalThis.gc?.()
  const own = process.env.TMPDIR
  const commands = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      } catch {
        return ''
      }
    })
  return {
    files: readdirSync('/proc/self/fd').length,
    memoryMiB: Math.round(process.memoryUsage().rss / 1024 ** 2),
    folders: readdirSync(own).filter((name) => name.startsWith('withvm-')).length,
    qemus: commands.filter((command) => command.includes('qemu-system') && command.includes(own)).length,
    sockets: readFileSync('/proc/net/unix', 'utf8')
      .split('\n')
      .filter((line) => line.includes(own)).length,
  }
}

async function digest(path) {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return hash.digest('hex')
}
