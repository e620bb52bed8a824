import { nearestNames } from '../../common/nearest-name.js'
import { vmError } from '../../errors.js'
import { findRunningGuests, type KeptRecord, type RunningGuest } from '../../vm/workspace/running-guests.js'

export interface KeptGuest extends RunningGuest {
  readonly kept: KeptRecord
}

/**
 * Finds a running guest by the name that `withvm ps` shows, or by its `name` option if only one
 * guest has that name. Standbys and guests that become templates, which no test has, are found by
 * the first only.
 *
 * @throws {UsageError} GUEST_NOT_FOUND when no guest, or more than one, matches.
 */
export async function findGuest(name: string): Promise<RunningGuest> {
  const guests = await findRunningGuests()
  const found = guests.find((guest) => guest.name === name)
  if (found !== undefined) return found
  const matches = guests.filter(({ guest, use }) => guest === name && use !== 'standby' && use !== 'template')
  if (matches.length === 1) return matches[0] as RunningGuest
  const isNear = ({ name: known, guest }: RunningGuest) => nearestNames(name, [known, guest]).length > 0
  const near = (matches.length > 0 ? matches : guests.filter(isNear)).map((guest) => guest.name)
  throw vmError('GUEST_NOT_FOUND', {
    summary:
      matches.length > 1
        ? `The name '${name}' is ambiguous: ${matches.length} guests have it.`
        : `No guest named '${name}' is running on this host.`,
    ...(near.length > 0 ? { expected: near.map((other) => `'${other}'`).join(' or ') } : {}),
    got: `'${name}'`,
    hint: 'Run `withvm ps` to list the running guests. A kept guest is removed when its time limit expires.',
  })
}

/**
 * Finds a guest that executes commands: any running guest except a standby.
 *
 * @throws {UsageError} GUEST_NOT_FOUND; GUEST_IN_USE when the guest is a standby.
 */
export async function findResponsiveGuest(name: string): Promise<RunningGuest> {
  const guest = await findGuest(name)
  if (guest.use !== 'standby') return guest
  throw vmError('GUEST_IN_USE', {
    summary: `The guest '${guest.name}' is a standby: it is paused until a test takes it.`,
    hint: `Read its serial console: \`withvm logs ${guest.name}\`.`,
  })
}

/**
 * Finds a kept guest by name.
 *
 * @throws {UsageError} GUEST_NOT_FOUND; GUEST_IN_USE when the process that started the guest still
 *   uses it.
 */
export async function findKeptGuest(name: string): Promise<KeptGuest> {
  const guest = await findGuest(name)
  if (guest.kept !== undefined) return guest as KeptGuest
  throw vmError('GUEST_IN_USE', {
    summary: `The guest '${guest.name}' is in use by the process that started it.`,
    hint: `Run \`withvm console --view ${guest.name}\` to watch its console, or wait until it is kept, which happens when its test fails with WITHVM_KEEP=1.`,
  })
}
