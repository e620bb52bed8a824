import type { Session } from './session.js'

const registries = new WeakMap<Session, Map<string, string>>()

/** What was plugged in since a guest was switched on, by QEMU's name for it: in words. */
export function pluggedInto(session: Session): Map<string, string> {
  const known = registries.get(session)
  if (known !== undefined) return known
  const registry = new Map<string, string>()
  registries.set(session, registry)
  return registry
}
