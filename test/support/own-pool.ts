import { randomBytes } from 'node:crypto'
import { ownEnv } from './own-env.js'

/** Lets this test have guests that no other shares a budget with. Gives the environment in which processes share it. */
export function ownPool(settings: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const env = { WITHVM_POOL: randomBytes(6).toString('hex'), ...settings }
  ownEnv(env)
  return env
}
