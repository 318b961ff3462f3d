export { type Audience, connectSignalR, type SignalRService, signalrUser } from './signalr-service.ts'
