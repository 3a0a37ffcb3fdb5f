# Two hosts and a router between them, in namespaces of this process: this one is the client, `server` and `router` are
# made. Everything between the hosts passes the router's FORWARD chain, where the delay is put.
tune="sysctl -qw net.ipv4.tcp_congestion_control=$CONGESTION net.ipv4.tcp_no_metrics_save=1
    sysctl -qw net.ipv4.tcp_wmem='4096 16384 $BUFFER_BYTES' net.ipv4.tcp_rmem='4096 131072 $BUFFER_BYTES'"
inside() { nsenter --net="/run/netns/$1" -- sh -euc "$2"; }

mount -t tmpfs lab /run
mkdir /run/netns /run/sshd /run/client
ip netns add server
ip netns add router
ip link add eth0 type veth peer name client netns router
inside router "ip link add server type veth peer name eth0 netns server"
inside router "ip link set lo up
    ip addr add 10.9.1.1/24 dev client
    ip link set client up
    ip addr add 10.9.2.1/24 dev server
    ip link set server up
    sysctl -qw net.ipv4.ip_forward=1"
inside server "ip link set lo up
    ip addr add 10.9.2.2/24 dev eth0
    ip link set eth0 up
    ip route add default via 10.9.2.1
    $tune"
ip link set lo up
ip addr add 10.9.1.2/24 dev eth0
ip link set eth0 up
ip route add default via 10.9.1.1
sh -euc "$tune"
