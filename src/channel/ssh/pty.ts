import type { PseudoTtyOptions } from 'ssh2'
import type { Terminal } from './shell-session.js'

/** Converts a terminal to the form of the SSH library, with defaults. */
export function toPty(terminal: Terminal): PseudoTtyOptions {
  return {
    cols: terminal.columns ?? 80,
    rows: terminal.rows ?? 24,
    term: terminal.term ?? 'xterm-256color',
  }
}
