import { resolveImage } from '../../src/image/resolve-image.js'
import { installGuestPackages } from './guest-packages.js'
import { watchListeners } from './loopback-watch.js'

/**
 * Has the packages that tests need, and the default guest, before the first test: no test's time-out has to hold that.
 * Then watches that nothing listens but on loopback, until the last test is over: what does fails the run.
 */
export async function setup(): Promise<() => void> {
  await installGuestPackages()
  await resolveImage('tiny')
  if (process.platform !== 'linux') return () => {}
  const stop = watchListeners()
  return () => {
    const problems = stop()
    if (problems.length === 0) return
    // Vitest 4 says what a teardown throws, and ends well all the same.
    process.once('exit', () => {
      process.exitCode = 1
    })
    throw new Error(`while the tests ran:\n${problems.join('\n')}`)
  }
}
