import { execa } from 'execa'
import { takeProcessLock } from '../../src/common/locks/process-lock.js'

const ROOT = new URL('../../', import.meta.url).pathname
const MAIN = `${ROOT}dist/src/cli/main.js`

/** Brings `dist` up to date. Two test files that do it at once wait for each other. */
export async function buildCli(): Promise<void> {
  const lock = await takeProcessLock('test-build')
  try {
    // Errors of types are what `npm run check` is for; the files are written all the same.
    await execa('npx', ['tsc', '-p', 'tsconfig.build.json'], { cwd: ROOT, reject: false })
  } finally {
    await lock.release()
  }
}

/** Runs the command `withvm` as a process of its own. */
export function runCli(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  return execa(process.execPath, [MAIN, ...args], { reject: false, env, timeout: 60_000 })
}
