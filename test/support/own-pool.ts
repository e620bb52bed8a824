import { randomBytes } from 'node:crypto'
import { ownEnv } from './own-env.js'

/** Sets a separate budget for the guests of this test. Returns the environment for processes that share it. */
export function ownPool(settings: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const env = { WITHVM_POOL: randomBytes(6).toString('hex'), ...settings }
  ownEnv(env)
  return env
}
