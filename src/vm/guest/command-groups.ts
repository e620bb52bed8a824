import { AsyncLocalStorage } from 'node:async_hooks'
import { nameCommand } from '../../channel/command-result.js'
import { type CommandGroup, logCommand, type Transcript } from '../machine/transcript.js'
import { MARKER } from './checks/guest-script.js'

const current = new AsyncLocalStorage<CommandGroup>()

/** Calls `work`, whose commands are recorded as those of the group. */
export function groupCommands<T>(group: CommandGroup, work: () => T): T {
  return current.run(group, work)
}

/** Runs a command and records it, as part of its group if it has one. */
export function recordCommand<T>(log: Transcript, command: string, work: () => Promise<T>): Promise<T> {
  const group = current.getStore()
  if (group === undefined) return logCommand(log, command, work)
  return group.run(log, command.includes(MARKER) ? undefined : nameCommand(command), work)
}
