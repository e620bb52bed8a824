import { toSafeLine } from '../errors/safe-text.js'
import { removeGuest } from '../vm/workspace/running-guests.js'
import { EXIT_CODES } from './exit-code.js'
import { findKeptGuest } from './find-guest.js'

/**
 * Runs `withvm stop`: stops and removes kept guests. All names are resolved before the first guest
 * is stopped.
 */
export async function stopGuests(names: readonly string[]): Promise<number> {
  const guests = await Promise.all(names.map(findKeptGuest))
  await Promise.all(guests.map(removeGuest))
  for (const { name } of guests) {
    process.stdout.write(`The guest '${toSafeLine(name)}' was stopped and removed.\n`)
  }
  return EXIT_CODES.ok
}
