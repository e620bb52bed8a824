import { showControlCharacters } from '../errors.js'
import { removeGuest } from '../vm/workspace/running-guests.js'
import { EXIT_CODES } from './exit-code.js'
import { findKeptGuest } from './find-guest.js'

/** `withvm stop`: throws guests away that were left running. All of them are looked up before the first is. */
export async function stopGuests(names: readonly string[]): Promise<number> {
  const guests = await Promise.all(names.map(findKeptGuest))
  await Promise.all(guests.map(removeGuest))
  for (const { name } of guests) {
    process.stdout.write(`The guest '${showControlCharacters(name)}' was thrown away.\n`)
  }
  return EXIT_CODES.ok
}
