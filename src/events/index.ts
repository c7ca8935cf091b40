// events: what happened, for people and programs. One helper an event makes the row that the queue commits with the
// outcome; after the commit the hub tells metrics and live views. It never changes what happens to a message.
export {
  type About,
  deferredEvent,
  domainEvent,
  EVENT_TYPES,
  type EventType,
  failedEvent,
  feedbackEvent,
  heldEvent,
  OUTCOME_EVENTS,
  queuedEvent,
  sentEvent,
  standingEvent,
} from './event.ts'
export { EventHub, type EventListener } from './event-hub.ts'
export { type EventFilter, type EventRow, listEvents } from './event-log.ts'
