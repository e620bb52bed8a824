import { resolveImage } from '../../src/image/resolve-image.js'
import { installGuestPackages } from './guest-packages.js'
import { watchListeners } from './loopback-watch.js'

/**
 * Installs the packages that tests need and builds the default image before the first test, so that no test's timeout
 * includes that. Then watches for sockets that listen on other than loopback addresses; such a socket fails the run.
 */
export async function setup(): Promise<() => void> {
  await installGuestPackages()
  await resolveImage('tiny')
  if (process.platform !== 'linux') return () => {}
  const stop = watchListeners()
  return () => {
    const problems = stop()
    if (problems.length === 0) return
    // Vitest 4 prints the error of a teardown but exits with 0.
    process.once('exit', () => {
      process.exitCode = 1
    })
    throw new Error(`while the tests ran:\n${problems.join('\n')}`)
  }
}
