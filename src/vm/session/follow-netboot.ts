import { NETWORK_CARD } from '../../qemu/argv/netboot.js'
import type { Machine } from '../machine/machine.js'
import { isLater } from '../watch/boot-stages.js'
import type { Session } from './session.js'

/** Follows what a guest asks for from now on. */
export async function followNetboot({ netboot }: Machine, { qmp, watch }: Session): Promise<void> {
  if (netboot === undefined) return
  netboot.follow(qmp, (error, stage) => {
    // A system that is up may fetch a file as often as it likes.
    if (stage === 'files' || !isLater(watch.stage, 'bootloader')) watch.fail(error)
  })
  // The firmware is told the order at each reset: what is set now counts from the next one on.
  if (netboot.spec.isFirst && netboot.spec.once) {
    await qmp.execute('qom-set', {
      path: `/machine/peripheral/${NETWORK_CARD}`,
      property: 'bootindex',
      value: -1,
    })
  }
}
