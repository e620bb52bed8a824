// Runs `test/guest/under-load.test.ts` repeatedly without retries, while busy loops use every processor of this host. Exits with 1 if a
// run failed, and prints its output.
//
//   node bench/under-load.mjs [runs]     10 runs by default

import { spawn } from 'node:child_process'
import { availableParallelism, loadavg } from 'node:os'

const runs = Number(process.argv[2] ?? 10)
const FILE = 'test/guest/under-load.test.ts'

let vitest
const loops = Array.from({ length: availableParallelism() }, () =>
  spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }),
)
const stop = () => {
  for (const loop of loops) loop.kill('SIGKILL')
  vitest?.kill('SIGTERM')
}
process.on('exit', stop)
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

/** Runs the file once. Returns the result, the output and the duration. */
function runOnce() {
  const startedAt = performance.now()
  const args = ['node_modules/vitest/vitest.mjs', 'run', '--project', 'guest', '--retry=0', FILE]
  vitest = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1' },
  })
  let output = ''
  for (const stream of [vitest.stdout, vitest.stderr]) {
    stream.on('data', (bytes) => {
      output += String(bytes)
    })
  }
  return new Promise((resolve) => {
    vitest.once('close', (code) =>
      resolve({ isPassed: code === 0, output, seconds: (performance.now() - startedAt) / 1000 }),
    )
  })
}

console.log(`${FILE}, ${runs} times, with ${loops.length} busy loops`)
let failures = 0
for (let run = 1; run <= runs; run++) {
  const { isPassed, output, seconds } = await runOnce()
  const tests = /Tests .*/.exec(output)?.[0].trim() ?? 'no test ran'
  console.log(
    `run ${String(run).padStart(2)}: ${isPassed ? 'passed' : 'FAILED'} in ${seconds.toFixed(0)} s, load ${loadavg()[0].toFixed(1)}; ${tests}`,
  )
  if (!isPassed) {
    console.log(output)
    failures++
  }
}
stop()
console.log(failures === 0 ? `all ${runs} passed` : `${failures} of ${runs} failed`)
process.exitCode = failures === 0 ? 0 : 1
