import type { Session } from './session.js'

const registries = new WeakMap<Session, Map<string, string>>()

/** Returns the devices plugged in during a power-on: their descriptions by QEMU id. */
export function pluggedDevices(session: Session): Map<string, string> {
  const known = registries.get(session)
  if (known !== undefined) return known
  const registry = new Map<string, string>()
  registries.set(session, registry)
  return registry
}
