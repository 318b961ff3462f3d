import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'

const channel = 'net.client.socket'
const setNoDelay = (message: unknown) => void (message as { socket: Socket }).socket.setNoDelay(true)

/**
 * Turns Nagle's algorithm off for the sockets that this process opens from now on. rhea leaves it on, and a receive loop
 * shares its connection with senders: the flow that gives the next credit is answered by nothing, so until the broker's
 * delayed acknowledgement, up to 40 ms later, the kernel held back every small frame that followed it. The SDKs have no
 * option for it, and the channel is Node's own, so that neither their inside nor a reconnect has to be followed.
 */
export function sendWithoutDelay(): void {
  // Subscribing is not idempotent.
  unsubscribe(channel, setNoDelay)
  subscribe(channel, setNoDelay)
}
