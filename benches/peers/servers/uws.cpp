// The same work as the other servers of this folder, on uWebSockets: echo, route or fanout (README.md has the protocol).
// Built by ci/peers against the sources that the crate libuwebsockets-sys carries; nothing of it is linked into our programs.
#include "App.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

struct Peer {};
using Socket = uWS::WebSocket<false, true, Peer>;

static const uint32_t SENDER = 0xFFFFFFFF;

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: peer-uws (echo|route|fanout) PORT\n");
        return 2;
    }
    const std::string mode = argv[1];
    const bool route = mode == "route", fanout = mode == "fanout";
    std::vector<Socket *> peers;
    uWS::App app;
    uWS::App::WebSocketBehavior<Peer> behavior;
    behavior.compression = uWS::DISABLED;
    behavior.maxPayloadLength = 1024 * 1024;
    behavior.maxBackpressure = 64 * 1024 * 1024;
    behavior.idleTimeout = 0;
    behavior.sendPingsAutomatically = false;
    behavior.message = [&](auto *ws, std::string_view message, uWS::OpCode opcode) {
        if (!route && !fanout) {
            ws->send(message, opcode);
            return;
        }
        uint32_t id = 0;
        if (message.length() < sizeof id) {
            return;
        }
        memcpy(&id, message.data(), sizeof id);
        if (message.length() == sizeof id) {
            if (id != SENDER && id < 1000000) {
                if (peers.size() <= id) {
                    peers.resize(id + 1);
                }
                peers[id] = ws;
                if (fanout) {
                    ws->subscribe("all");
                }
            }
            ws->send(message, uWS::BINARY);
        } else if (fanout) {
            app.publish("all", message, uWS::BINARY);
        } else {
            if (id < peers.size() && peers[id]) {
                peers[id]->send(message, uWS::BINARY);
            }
            ws->send(message.substr(0, sizeof id), uWS::BINARY);
        }
    };
    behavior.close = [&](auto *ws, int, std::string_view) {
        for (auto &peer : peers) {
            if (peer == ws) {
                peer = nullptr;
            }
        }
    };
    app.ws<Peer>("/*", std::move(behavior));
    app.listen("127.0.0.1", atoi(argv[2]), [&](auto *listening) {
        if (!listening) {
            fprintf(stderr, "cannot listen on %s\n", argv[2]);
            exit(1);
        }
    });
    app.run();
    return 0;
}
