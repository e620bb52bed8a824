import { resolveImage } from '../../images/resolve.js'

/** Builds the default guest before the first test, so that no test's time-out has to hold a build. */
export async function setup(): Promise<void> {
  await resolveImage('tiny')
}
