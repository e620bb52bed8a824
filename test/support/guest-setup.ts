import { resolveImage } from '../../images/resolve.js'
import { installGuestPackages } from './guest-packages.js'

/** Has the packages that tests need, and the default guest, before the first test: no test's time-out has to hold that. */
export async function setup(): Promise<void> {
  await installGuestPackages()
  await resolveImage('tiny')
}
