// `npm run soak [-- --rounds N] [--kills N] [--seed N]` runs many warm starts, then kills programs during starts, and reports leftovers.
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
    kills: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
  },
})
process.env.TMPDIR = await mkdtemp(join(tmpdir(), 'soak-'))
const problems = []
const baseDisk = await withVM({ ready: 'none' }, (vm) => vm.baseDisk)
const before = await digest(baseDisk)
await warmStarts(Number(values.rounds))
await kills(Number(values.kills), Number(values.seed))
if ((await digest(baseDisk)) !== before) problems.push('the base image has changed')
for (const problem of problems) console.log(`PROBLEM: ${problem}`)
console.log(problems.length === 0 ? 'nothing is left, and nothing failed' : `${problems.length} problems`)
await rm(process.env.TMPDIR, { recursive: true, force: true })
process.exitCode = problems.length === 0 ? 0 : 1

/** Starts new guests, each with one command through its agent; every tenth also with one over SSH. */
async function warmStarts(rounds) {
  const options = { ready: 'agent', standby: false, log: () => {} }
  await withVM(options, () => {})
  const times = []
  let start
  for (let round = 0; round < rounds; round++) {
    // The first tenth of the rounds is a warm-up of memory and open files.
    if (round === Math.floor(rounds / 10)) start = readUsage()
    const startedAt = performance.now()
    try {
      const vm = await launchVM(options)
      const { stdout } = await vm.exec('echo $((6 * 7))')
      if (stdout !== '42') problems.push(`round ${round}: the guest printed ${stdout}`)
      if (vm.startedFrom.kind !== 'template')
        problems.push(`round ${round}: ${JSON.stringify(vm.startedFrom)}`)
      if (round % 10 === 0) await vm.ssh`true`
      await vm.dispose()
    } catch (error) {
      problems.push(`round ${round}: ${error.message}`)
    }
    times.push(performance.now() - startedAt)
  }
  const end = readUsage()
  console.log(
    `${rounds} warm starts: median ${ms(median(times))} ms; usage at the end (and after a tenth of the rounds):`,
  )
  for (const [name, value] of Object.entries(end)) console.log(`  ${name}: ${value} (${start[name]})`)
  if (end.files > start.files + 2) problems.push(`open files grew from ${start.files} to ${end.files}`)
  if (end.memoryMiB > start.memoryMiB + 64)
    problems.push(`memory grew from ${start.memoryMiB} to ${end.memoryMiB} MiB`)
  if (end.folders > 0 || end.qemus > 0 || end.sockets > start.sockets)
    problems.push(`left: ${JSON.stringify(end)}`)
}

/** Kills programs that start guests at random moments. */
async function kills(count, seed) {
  const random = seededRandom(seed)
  const program = `
    import { withVM } from 'withvm'
    for (;;) await withVM({ log: () => {}, standby: true }, (vm) => vm.ssh\`echo x >/root/x; sync\`)`
  let orphans = 0
  for (let round = 0; round < count; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'ignore' })
    await sleep(random() * 3000)
    child.kill('SIGKILL')
    await sleep(1000)
    if (readUsage().qemus > 0) orphans++
  }
  if (orphans > 0) problems.push(`${orphans} of ${count} kills left a QEMU for more than a second`)
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
  console.log(`${count} kills: ${orphans} left a QEMU; ${left.folders} folders after the next run`)
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
