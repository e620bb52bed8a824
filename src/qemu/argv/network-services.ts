import { relayCommand } from '../../common/process/relay-command.js'
import type { GuestForwardSpec } from '../../spec/guest-forward.js'
import type { MachineSpec, NetworkSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'

type Commands = Wiring['forwardCommands']

/**
 * Returns the options of services in the user-mode network: an SMB share and `guestfwd` addresses.
 * The manual command line omits addresses that are served by a function of the test.
 */
export function networkServices({ sharedFolder, guestForwards }: NetworkSpec, commands: Commands): string[] {
  const forwards = guestForwards.flatMap((forward) => {
    const command = commands?.get(forward) ?? manualCommand(forward)
    return command === undefined
      ? []
      : [joinOption('', { guestfwd: `tcp:${forward.address}:${forward.port}-cmd:${command}` })]
  })
  return [...(sharedFolder === undefined ? [] : [joinOption('', { smb: sharedFolder })]), ...forwards]
}

/** Returns true if QEMU starts a process for each connection of the guest. */
export function startsProcesses({ network, furtherNetworks, netboot }: MachineSpec): boolean {
  const isServed = ({ sharedFolder, guestForwards }: NetworkSpec) =>
    sharedFolder !== undefined || guestForwards.length > 0
  return netboot?.http !== undefined || [network, ...furtherNetworks].some(isServed)
}

function manualCommand({ service }: GuestForwardSpec): string | undefined {
  if ('command' in service) return service.command
  return 'server' in service ? relayCommand(service.server) : undefined
}
