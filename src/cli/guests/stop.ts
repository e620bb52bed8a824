import { toSafeLine } from '../../errors/safe-text.js'
import { findRunningGuests, removeGuest } from '../../vm/workspace/running-guests.js'
import { EXIT_CODES } from '../exit-code.js'
import { printResult } from '../json.js'
import { findKeptGuest } from './find-guest.js'

export interface StopFlags {
  readonly all?: boolean
  readonly json?: boolean
}

/**
 * Runs `withvm stop`: stops and removes kept guests. All names are resolved before the first guest
 * is stopped.
 */
export async function stopGuests(names: readonly string[], flags: StopFlags = {}): Promise<number> {
  const guests =
    flags.all === true
      ? (await findRunningGuests()).filter(({ use }) => use === 'kept')
      : await Promise.all(names.map(findKeptGuest))
  await Promise.all(guests.map(removeGuest))
  const lines = guests.map(({ name }) => `The guest '${toSafeLine(name)}' was stopped and removed.`)
  const text = lines.length === 0 ? 'No kept guests are running on this host.' : lines.join('\n')
  printResult({ stopped: guests.map(({ name }) => name) }, { json: flags.json === true, text })
  return EXIT_CODES.ok
}
