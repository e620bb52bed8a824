import { nearestNames } from '../common/nearest-name.js'
import { vmError } from '../errors.js'
import { findRunningGuests, type KeptRecord, type RunningGuest } from '../vm/workspace/running-guests.js'

export interface KeptGuest extends RunningGuest {
  readonly kept: KeptRecord
}

/**
 * The guest of that name: as `withvm ps` shows it, or the author's own name for it where only one guest has that.
 * @throws {UsageError} GUEST_NOT_FOUND
 */
export async function findGuest(name: string): Promise<RunningGuest> {
  const guests = await findRunningGuests()
  const found = guests.find((guest) => guest.name === name)
  if (found !== undefined) return found
  const namesakes = guests.filter(({ guest }) => guest === name)
  if (namesakes.length === 1) return namesakes[0] as RunningGuest
  const isNear = ({ name: known, guest }: RunningGuest) => nearestNames(name, [known, guest]).length > 0
  const near = (namesakes.length > 0 ? namesakes : guests.filter(isNear)).map((guest) => guest.name)
  throw vmError('GUEST_NOT_FOUND', {
    summary:
      namesakes.length > 1
        ? `${namesakes.length} guests are called '${name}'.`
        : `No guest called '${name}' runs on this host.`,
    ...(near.length > 0 ? { expected: near.map((other) => `'${other}'`).join(' or ') } : {}),
    got: `'${name}'`,
    hint: '`withvm ps` lists the guests that run. One that was left running is thrown away when its time is up.',
  })
}

/** @throws {UsageError} GUEST_NOT_FOUND; GUEST_IN_USE when it was not left running. */
export async function findKeptGuest(name: string): Promise<KeptGuest> {
  const guest = await findGuest(name)
  if (guest.kept !== undefined) return guest as KeptGuest
  throw vmError('GUEST_IN_USE', {
    summary: `The guest '${guest.name}' is in use by the process that started it.`,
    hint: 'wait until it was left running: that happens where its test fails with WITHVM_KEEP=1.',
  })
}
