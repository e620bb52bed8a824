import { NETWORK_CARD } from '../../qemu/argv/netboot.js'
import type { Machine } from '../machine/machine.js'
import { isLater } from '../watch/boot-stages.js'
import type { Session } from './session.js'

/** Follows the network boot requests of a guest from now on. */
export async function followNetboot({ services: { netboot } }: Machine, session: Session): Promise<void> {
  if (netboot === undefined) return
  const { qmp, watch } = session
  netboot.follow(session, (error, stage) => {
    // A booted system may fetch a file any number of times.
    if (stage === 'files' || !isLater(watch.stage, 'bootloader')) watch.fail(error)
  })
  // The firmware reads the boot order at each reset, so this takes effect at the next one.
  if (netboot.spec.isFirst && netboot.spec.once) {
    await qmp.execute('qom-set', {
      path: `/machine/peripheral/${NETWORK_CARD}`,
      property: 'bootindex',
      value: -1,
    })
  }
}
