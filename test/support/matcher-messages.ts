import { maskMessage, rejection } from './messages.js'

/** Returns the message of a failed matcher, without times and console lines. */
export async function matcherMessage(assertion: Promise<unknown>): Promise<string> {
  return maskMessage(await rejection(assertion))
    .replace(/(Serial console, last lines:\n) {2}\|.*(?:\n {2}\|.*)*/, '$1  | LINES')
    .replace(/\[ *\d+\.\d{6}\]/g, '[TIME]')
    .replace(/pid \d+|\b\d+(?= processes)/g, 'N')
}
