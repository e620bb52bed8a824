import { execa } from 'execa'
import { takeProcessLock } from '../../src/common/locks/process-lock.js'

const ROOT = new URL('../../', import.meta.url).pathname
const MAIN = `${ROOT}dist/src/cli/main.js`

/** Builds `dist`. Concurrent test files wait for each other. */
export async function buildCli(): Promise<void> {
  const lock = await takeProcessLock('test-build')
  try {
    // Type errors are found by `npm run check`; tsc writes the files despite them.
    await execa('npx', ['tsc', '-p', 'tsconfig.build.json'], { cwd: ROOT, reject: false })
  } finally {
    await lock.release()
  }
}

/** Runs the command `withvm` in a separate process. */
export function runCli(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  return execa(process.execPath, [MAIN, ...args], { reject: false, env, timeout: 60_000 })
}
