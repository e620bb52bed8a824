// `npm run packed [-- --tests N] [--workers N] [--memory MIB] [--parts N] [--limited]` runs many tests, each with its own guest, alternating
// with and without a memory limit (with `--limited`: only with it). Reports whether the limit was exceeded, leftovers, and the cost of the limit.
import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { median } from './statistics.mjs'

const { values } = parseArgs({
  options: {
    tests: { type: 'string', default: '200' },
    workers: { type: 'string', default: '4' },
    memory: { type: 'string', default: '2048' },
    parts: { type: 'string', default: '4' },
    limited: { type: 'boolean', default: false },
  },
})
const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const [tests, workers, limitMiB, parts] = [values.tests, values.workers, values.memory, values.parts].map(
  Number,
)
const folder = await mkdtemp(join(tmpdir(), 'packed-'))
const problems = []
try {
  writeProject()
  await runPart({ isLimited: true, isWarmUp: true }) // builds the template
  const runs = { limited: [], unlimited: [] }
  // Alternating, because the load of a shared host changes.
  for (let part = 0; part < parts; part++) {
    const order = part % 2 === 0 ? ['limited', 'unlimited'] : ['unlimited', 'limited']
    for (const way of order) {
      if (values.limited && way === 'unlimited') continue
      const run = await runPart({ isLimited: way === 'limited' })
      runs[way].push(run)
      console.log(
        `part ${part + 1}, ${way}: ${run.passed} passed in ${run.seconds.toFixed(1)} s, at most ${run.peakMiB} MiB`,
      )
    }
  }
  const seconds = (list) => list.reduce((sum, run) => sum + run.seconds, 0)
  const peak = (list) => Math.max(...list.map((run) => run.peakMiB))
  const passed = runs.limited.reduce((sum, run) => sum + run.passed, 0)
  console.log(
    `${passed} of ${tests} tests passed, ${workers} workers, ${limitMiB} MiB for all guests: at most ${peak(runs.limited)} MiB at a time, ${seconds(runs.limited).toFixed(1)} s`,
  )
  if (passed !== tests) problems.push(`${tests - passed} tests did not pass`)
  if (peak(runs.limited) > limitMiB) problems.push(`the guests took ${peak(runs.limited)} MiB`)
  if (runs.unlimited.length > 0) {
    const ratio = median(runs.limited.map((run, index) => run.seconds / runs.unlimited[index].seconds))
    console.log(
      `without a limit: at most ${peak(runs.unlimited)} MiB, ${seconds(runs.unlimited).toFixed(1)} s; median of ratios ${ratio.toFixed(2)}`,
    )
    if (ratio > 1.2) problems.push(`the limit costs ${Math.round((ratio - 1) * 100)} % of time`)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
for (const problem of problems) console.log(`PROBLEM: ${problem}`)
process.exitCode = problems.length === 0 ? 0 : 1

function writeProject() {
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  mkdirSync(join(folder, 'tmp'))
  writeFileSync(
    join(folder, 'vitest.config.mjs'),
    `const alias = { 'withvm/vitest': '${ROOT}/dist/fixtures/vitest.js', withvm: '${ROOT}/dist/fixtures/index.js' }
    export default { resolve: { alias }, test: { maxWorkers: ${workers}, testTimeout: 600_000 } }`,
  )
  const each = Math.ceil(tests / parts / workers)
  for (let file = 0, left = tests / parts; left > 0; file++, left -= each) {
    writeFileSync(
      join(folder, `part-${file}.test.ts`),
      `import { expect, test } from 'withvm/vitest'
      for (let run = 0; run < ${Math.min(each, left)}; run++) test('guest ' + run, async ({ vm }) => {
        await vm.ssh\`head -c 2000000 /dev/urandom >/tmp/some; sleep 0.3\`
        expect((await vm.ssh\`cat /tmp/some | wc -c\`).stdout).toBe('2000000')
      })`,
    )
  }
}

/** Runs the tests once and monitors the memory of the guests. */
async function runPart({ isLimited, isWarmUp = false }) {
  const env = {
    ...process.env,
    TMPDIR: join(folder, 'tmp'),
    WITHVM_POOL: folder,
    WITHVM_MEMORY: isLimited ? `${limitMiB}M` : '',
    CI: '',
  }
  const report = join(folder, 'report.json')
  const args = [
    join(ROOT, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--reporter=json',
    `--outputFile=${report}`,
  ]
  if (isWarmUp) args.push('-t', 'guest 0')
  let peakMiB = 0
  const watching = setInterval(() => {
    peakMiB = Math.max(peakMiB, sumPss())
  }, 50)
  const startedAt = performance.now()
  const child = spawn(process.execPath, args, { cwd: folder, env, stdio: ['ignore', 'ignore', 'inherit'] })
  await new Promise((done) => child.once('exit', done))
  const seconds = (performance.now() - startedAt) / 1000
  clearInterval(watching)
  const left = [
    ...findQemus(),
    ...readdirSync(join(folder, 'tmp')).filter((name) => name.startsWith('withvm-')),
  ]
  if (left.length > 0) problems.push(`left: ${left.join(', ')}`)
  const { numPassedTests, testResults } = JSON.parse(readFileSync(report, 'utf8'))
  for (const { assertionResults } of testResults) {
    for (const { status, failureMessages } of assertionResults) {
      if (status === 'failed') problems.push(failureMessages.join('\n'))
    }
  }
  return { seconds, peakMiB, passed: numPassedTests }
}

/** Sums the proportional set size of all guests of these tests, MiB: shared memory counts once. */
function sumPss() {
  const kib = findQemus().map((pid) => {
    const text = read(`/proc/${pid}/smaps_rollup`)
    return Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0)
  })
  return Math.round(kib.reduce((sum, one) => sum + one, 0) / 1024)
}

function findQemus() {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.filter((pid) => {
    const command = read(`/proc/${pid}/cmdline`)
    return command.includes('qemu-system') && command.includes(join(folder, 'tmp'))
  })
}

function read(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
